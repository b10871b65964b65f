import { describe, expect, it } from 'vitest'
import { bootGuest } from '../src/index.ts'
import { echoDriver, echoProvider } from './echo.ts'

describe('the guest', () => {
  it('boots, and talks to a device', async () => {
    const lines: string[] = []
    const logger = {
      log: (_level: string, message: string, fields?: object) =>
        void lines.push(`${message} ${JSON.stringify(fields)}`),
      child: () => logger,
    }
    await using guest = await bootGuest({ providers: [echoProvider], drivers: [echoDriver], logger })
    const echo = await guest.device(echoDriver)
    expect(await echo.echo(Uint8Array.of(1, 2, 3))).toEqual(Uint8Array.of(1, 2, 3, 0, 0, 0, 0, 0))
  })
})
