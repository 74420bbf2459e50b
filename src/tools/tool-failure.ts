/** How a call of a tool ended without a result. */
export type FailedResult = 'failed' | 'refused' | 'timeout' | 'aborted';

/** A call that gave no result. The message is a sentence that the model may read. */
export class ToolFailure extends Error {
  override readonly name = 'ToolFailure';
  readonly result: FailedResult;

  constructor(result: FailedResult, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.result = result;
  }
}

/** Before anything was sent. */
export function refusal(message: string): ToolFailure {
  return new ToolFailure('refused', message);
}

/** What a broken connection is called; undefined where the error is none of the network's. */
export function networkFailure(error: unknown, origin: string): ToolFailure | undefined {
  const code = codeOf(error);
  if (code === undefined) return undefined;
  return new ToolFailure('failed', `The tool's server ${origin} ${sentences[code] ?? broke(code)}`, error);
}

/** The network's own code may lie some causes deep. */
function codeOf(error: unknown): string | undefined {
  let found = error;
  for (let depth = 0; depth < 5 && found instanceof Error; depth += 1) {
    const code: unknown = 'code' in found ? found.code : undefined;
    if (
      typeof code === 'string' &&
      (code in sentences || /^(E[A-Z]{3,}|UND_ERR_\w+|HPE_\w+|CERT_\w+|ERR_TLS\w+|.*CERT.*)$/.test(code))
    )
      return code;
    found = found.cause;
  }
  return undefined;
}

const sentences: Readonly<Record<string, string>> = {
  EADDRCLOSED:
    'is not on the public internet, so it was not called. The owner can allow it under tools.privateOrigins of usher.yaml.',
  ENOTFOUND: 'has a name that leads nowhere.',
  EAI_AGAIN: 'has a name that cannot be looked up now. Try again later.',
  ECONNREFUSED: 'does not answer. Try again later.',
  UND_ERR_CONNECT_TIMEOUT: 'does not answer. Try again later.',
};

function broke(code: string): string {
  return /CERT|TLS|SELF_SIGNED/.test(code)
    ? 'has a certificate that does not hold, so nothing was sent.'
    : 'broke the connection before its answer was whole. Try again later.';
}
