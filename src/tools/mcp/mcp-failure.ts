import { ProtocolError, SdkError, SdkHttpError } from '@modelcontextprotocol/client';
import { withoutSecrets } from '../authority.ts';
import { networkFailure, ToolFailure } from '../tool-failure.ts';

const messageCharactersMax = 500;

/** What went wrong with a server, in a sentence; anything else comes back as it is. */
export function mcpFailure(error: unknown, origin: string, secrets: readonly string[]): unknown {
  const own = ownFailure(error);
  if (own !== undefined) return own;
  const network = networkFailure(error, origin);
  if (network !== undefined) return network;
  if (error instanceof SdkHttpError) {
    const why = error.status === 401 || error.status === 403 ? ', so it did not accept the authorisation' : '';
    return new ToolFailure('failed', `The tool's server ${origin} answered with status ${error.status}${why}.`, error);
  }
  // The server's own words, as it meant them for the one who calls.
  if (error instanceof ProtocolError) {
    const said = withoutSecrets(error.message, secrets).slice(0, messageCharactersMax);
    return new ToolFailure('failed', `The tool's server refused the call: ${said}`, error);
  }
  if (error instanceof SdkError || (error instanceof Error && /Json|Syntax|Zod|Type/.test(error.name))) {
    return new ToolFailure('failed', `The tool's server ${origin} did not speak the Model Context Protocol.`, error);
  }
  return error;
}

function ownFailure(error: unknown): ToolFailure | undefined {
  let found = error;
  for (let depth = 0; depth < 5 && found instanceof Error; depth += 1) {
    if (found instanceof ToolFailure) return found;
    found = found.cause;
  }
  return undefined;
}
