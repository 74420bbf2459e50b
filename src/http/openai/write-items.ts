import { unreachable } from '#base';
import {
  isSearchId,
  searchFound,
  searchQueries,
  type Citation,
  type ContentPart,
  type FoundPassage,
  type Item,
  type ReasoningItem,
  type Role,
  type ToolItem,
} from '#conversation';

type WireStatus = 'in_progress' | 'completed' | 'incomplete';

/** An item as Responses and Conversations write it. `showsFound`: with the passages that a search found. */
export function writeItem(
  item: Item,
  {
    status = item.status,
    showsFound = false,
  }: { readonly status?: WireStatus; readonly showsFound?: boolean | undefined } = {},
): object {
  switch (item.kind) {
    case 'message':
      return {
        id: item.id,
        type: 'message',
        status,
        role: item.role,
        content: item.content.map((part) => writePart(part, item.role)),
      };
    case 'call':
      if (item.custom === true) {
        const { id, callId, name } = item;
        return { id, type: 'custom_tool_call', status, call_id: callId, name, input: item.arguments };
      }
      return {
        id: item.id,
        type: 'function_call',
        status,
        call_id: item.callId,
        name: item.name,
        arguments: item.arguments,
      };
    case 'result':
      return {
        id: item.id,
        type: item.custom === true ? 'custom_tool_call_output' : 'function_call_output',
        status,
        call_id: item.callId,
        output:
          item.images === undefined
            ? item.output
            : [{ type: 'input_text', text: item.output }, ...item.images.map((part) => writePart(part, 'user'))],
      };
    case 'tool':
      return isSearchId(item.id) ? writeSearch(item, status, showsFound) : writeTool(item, status);
    case 'approval-request': {
      const { id, source, name, arguments: text } = item;
      return { id, type: 'mcp_approval_request', server_label: source, name, arguments: text };
    }
    case 'approval': {
      const { id, request, approve, reason } = item;
      // The specification asks for both names of the request.
      return { id, type: 'mcp_approval_response', request_id: request, approval_request_id: request, approve, reason };
    }
    case 'reasoning':
      return writeReasoning(item, status);
    case 'compaction':
      return { id: item.id, type: 'compaction', encrypted_content: item.sealed };
  }
}

function writeSearch(item: ToolItem, status: WireStatus, showsFound: boolean): object {
  return {
    id: item.id,
    type: 'file_search_call',
    status: statusOf(item, status),
    queries: searchQueries(item),
    results: showsFound ? (searchFound(item) ?? []).map(writeFoundPassage) : null,
  };
}

function writeFoundPassage({ source, title, text, score }: FoundPassage): object {
  return { file_id: source, filename: title, text, score, attributes: null };
}

/** A call that failed is whole, and says so. */
function statusOf(item: ToolItem, status: WireStatus): WireStatus | 'failed' {
  return status === 'completed' && item.error !== null ? 'failed' : status;
}

/** Models' own words are its content; summaries are made by no server here. */
function writeReasoning({ id, text, sealed }: ReasoningItem, status: WireStatus): object {
  return {
    id,
    type: 'reasoning',
    summary: [],
    content: text === '' ? [] : [writeThought(text)],
    ...(sealed === undefined ? {} : { encrypted_content: sealed }),
    status,
  };
}

export function writeThought(text: string): object {
  return { type: 'reasoning_text', text };
}

/** A call of the assistant's own tool is one of a server's on the wire: nothing is left for the caller to run. */
function writeTool(item: ToolItem, status: WireStatus): object {
  return {
    id: item.id,
    type: 'mcp_call',
    server_label: item.source,
    name: item.name,
    arguments: item.arguments,
    output: item.output,
    error:
      item.error === null ? null : { type: 'mcp_tool_execution_error', content: [{ type: 'text', text: item.error }] },
    status: statusOf(item, status),
    approval_request_id: item.approvalRequest ?? null,
  };
}

/** A page of items, as every list of the wire is written. */
export function itemList(
  items: readonly Item[],
  hasMore: boolean,
  shown: { readonly showsFound?: boolean | undefined } = {},
): object {
  return {
    object: 'list',
    data: items.map((item) => writeItem(item, shown)),
    // Of an empty page '', since the types of OpenAI's client know no null here.
    first_id: items[0]?.id ?? '',
    last_id: items.at(-1)?.id ?? '',
    has_more: hasMore,
  };
}

export function writePart(part: ContentPart, role: Role): object {
  switch (part.type) {
    case 'text':
      return role === 'assistant'
        ? {
            type: 'output_text',
            text: part.text,
            annotations: (part.citations ?? []).map(writeCitation),
            logprobs: writeLogprobs(part.logprobs),
          }
        : { type: 'input_text', text: part.text };
    case 'refusal':
      return { type: 'refusal', refusal: part.text };
    case 'file':
      return writeFile(part);
    case 'image':
      return { type: 'input_image', image_url: part.url, file_id: null, detail: part.detail ?? 'auto' };
    default:
      return unreachable(part);
  }
}

/** As the text that was read of it: so it can be sent back. */
function writeFile({ name, text }: Extract<ContentPart, { type: 'file' }>): object {
  const file_data = `data:text/plain;base64,${Buffer.from(text).toString('base64')}`;
  return { type: 'input_file', file_id: null, filename: name, file_data };
}

interface Logprob {
  readonly bytes?: unknown;
  readonly top_logprobs?: unknown;
}

/** As Chat Completions told them; this wire knows no null for bytes. */
export function writeLogprobs(told: readonly unknown[] = []): readonly object[] {
  return told.filter(isLogprob).map(writeLogprob);
}

function writeLogprob(each: Logprob): object {
  const top = Array.isArray(each.top_logprobs) ? each.top_logprobs.filter(isLogprob) : [];
  return { ...withBytes(each), top_logprobs: top.map(withBytes) };
}

function isLogprob(value: unknown): value is Logprob {
  return typeof value === 'object' && value !== null;
}

function withBytes(each: Logprob): Logprob {
  return { ...each, bytes: each.bytes ?? [] };
}

/** A passage of the assistant's knowledge is a file on the wire; `index` is where the quotation or the mark ends. */
export function writeCitation(citation: Citation): object {
  return { type: 'file_citation', file_id: citation.source, filename: citation.title, index: citation.end };
}
