// What the NAT needs of its host: sockets, and who answers for names. An implementation for Node is in `node-host.node.ts`; tests bring their own.

/** What happens at a TCP socket. After `closed` nothing comes any more. Never called from inside of a call to the socket or to {@link NatHost}. */
export interface TcpSocketEvents {
  /** The other end has accepted the connection. */
  connected(): void
  /** Data, which is the receiver's now. */
  data(chunk: Uint8Array): void
  /** The peer sends nothing more. */
  ended(): void
  /** {@link TcpSocket.buffered} has fallen after it was high. */
  drained(): void
  /** The socket is gone: with `error`, an error of the system (`ECONNREFUSED` …), or after both sides have ended. */
  closed(error?: string): void
}

/** A TCP connection of the host. */
export interface TcpSocket {
  /** Send a copy of `data`. */
  write(data: Uint8Array): void
  /** Bytes of memory for what was written and has not left. Small writes must not cost much more than their bytes. */
  readonly buffered: number
  /** Nothing more will be written. */
  end(): void
  /** Stop and go on with {@link TcpSocketEvents.data}. */
  pause(): void
  /** Deliver data again. */
  resume(): void
  /** Away with it, with a reset. No event comes any more. */
  abort(): void
}

/** A UDP socket of the host, bound to a port of its own. */
export interface UdpSocket {
  /** Send a copy of `data`. Errors are lost, as packets are. */
  send(data: Uint8Array, address: string, port: number): void
  /** Bytes of memory for datagrams that have not left. */
  readonly buffered: number
  /** Close the socket. */
  close(): void
}

/** Where UDP datagrams go. */
export type UdpReceiver = (data: Uint8Array, address: string, port: number) => void

/** The host's network. Addresses are text. */
export interface NatHost {
  /** Connect. Failing is an event, too. */
  connectTcp(address: string, port: number, events: TcpSocketEvents): TcpSocket
  /** Accept connections at an address and port of the host; `address` and `port` of the peer are where each comes from. @throws SwitchError `ERR_NETWORK_FORWARD` */
  listenTcp(
    address: string,
    port: number,
    accept: (socket: TcpSocket, peer: { readonly address: string; readonly port: number }) => TcpSocketEvents,
  ): Promise<AsyncDisposable>
  /** A socket for sending, and for answers. `undefined` when the system has no more. */
  openUdp(version: 4 | 6, receive: UdpReceiver): UdpSocket | undefined
  /** Receive datagrams at an address and port of the host. @throws SwitchError `ERR_NETWORK_FORWARD` */
  listenUdp(address: string, port: number, receive: UdpReceiver): Promise<UdpSocket>
  /** Name servers, `address` or `address:port`, as the host uses them now. */
  nameServers(): readonly string[]
  /** Addresses of the host's interfaces as they are now. Without it, only its loopback is known to be the host. */
  ownAddresses?(): readonly string[]
  /** Whether an address answers to an ICMP echo request. Without it, only the gateway itself answers guests. */
  echo?(address: string): Promise<boolean>
}
