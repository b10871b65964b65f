// The logger that the packages are given: nothing, or pino on standard error at the level of the environment variable PARTITA_LOG.

import { type Logger, type LogLevel, silentLogger } from '@partita/interface'
import { CliError } from './cli-error.ts'

const LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error']
const STANDARD_ERROR = 2

/**
 * A logger at `level`; a silent one where that is empty.
 * @throws CliError `ERR_USAGE` for a level that does not exist
 */
export async function createLogger(level: string | undefined): Promise<Logger> {
  if (level === undefined || level === '') return silentLogger
  if (!LEVELS.includes(level as LogLevel)) {
    throw new CliError('ERR_USAGE', `PARTITA_LOG=${level} is not a level`, {
      hint: `Choose one of ${LEVELS.join(', ')}.`,
    })
  }
  // Loaded only where it is wanted: starting is faster without.
  const { pino } = await import('pino')
  return wrap(pino({ level, base: null }, pino.destination({ fd: STANDARD_ERROR, sync: true })))
}

type PinoLike = Readonly<Record<LogLevel, (fields: object, message: string) => void>> & {
  child(fields: object): PinoLike
}

function wrap(logger: PinoLike): Logger {
  return {
    log: (level, message, fields) => logger[level](fields ?? {}, message),
    child: (fields) => wrap(logger.child(fields)),
  }
}
