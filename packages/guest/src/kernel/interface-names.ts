// What people call the interfaces of Hyper-V's own devices.

const NAMES: Readonly<Record<string, string>> = {
  'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f': 'SCSI controller',
  '32412632-86cb-44a2-9b5c-50d1417354f5': 'IDE accelerator',
  'f8615163-df3e-46c5-913f-f2d2f965ed0e': 'Network adapter',
  '525074dc-8985-46e2-8057-a307dc18a502': 'Dynamic memory',
  '0e0b6031-5213-4934-818b-38d90ced39db': 'Guest shutdown',
  '9527e630-d0ae-497b-adce-e80ab0175caf': 'Time synchronization',
  '57164f39-9115-4e78-ab55-382f3bd5422d': 'Heartbeat',
  'a9a0f4e7-5a45-4d96-b827-8a841e8c03e6': 'Data exchange',
  '35fa2e29-ea23-4236-96ae-3a6ebacba440': 'Volume shadow copy',
  '34d14be3-dee4-41c8-9ae7-6b174977c192': 'Guest file copy',
  'f912ad6d-2b17-48ea-bd65-f927a61c7684': 'Keyboard',
  'cfa8b69e-5b4a-4cc0-b98b-8ba1a1f3f95a': 'Mouse',
  'da0a7802-e377-4aac-8e77-0558eb1073f8': 'Video',
  '44c4f61d-4444-4400-9d52-802e27ede19f': 'PCI pass-through',
}

/** A name, or the GUID where it has none. */
export function interfaceName(interfaceId: string): string {
  return NAMES[interfaceId] ?? `{${interfaceId}}`
}
