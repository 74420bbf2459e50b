import type { CallToolResult } from '@modelcontextprotocol/client';
import { withoutSecrets } from '../authority.ts';
import { cutResult } from '../runnable-tool.ts';
import { ToolFailure } from '../tool-failure.ts';

/** What a server's result says to the model. @throws ToolFailure where the result is an error */
export function readMcpResult(result: CallToolResult, bytesMax: number, secrets: readonly string[]): string {
  const told = result.content.map((block) => textOf(block)).filter((text) => text !== '');
  const text =
    told.length === 0 && result.structuredContent !== undefined
      ? JSON.stringify(result.structuredContent)
      : told.join('\n\n');
  const cut = cutResult(withoutSecrets(text, secrets), bytesMax, true);
  if (result.isError === true) throw new ToolFailure('failed', cut === '' ? 'The tool failed without a word.' : cut);
  return cut === '' ? 'The call succeeded and returned nothing.' : cut;
}

function textOf(block: CallToolResult['content'][number]): string {
  switch (block.type) {
    case 'text':
      return block.text;
    case 'resource':
      return 'text' in block.resource ? block.resource.text : `[${block.resource.uri}: not text, left out]`;
    case 'resource_link':
      return `[${block.name}: ${block.uri}]`;
    case 'image':
    case 'audio':
      return `[${block.type}, left out]`;
    default:
      return '';
  }
}
