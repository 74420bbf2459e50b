import { openArgumentCheck } from './argument-check.ts';
import { readOperations, type ToolProblem } from './openapi/read-operations.ts';
import {
  pathArguments,
  policyOf,
  sentPath,
  type HttpToolFile,
  type McpServerFile,
  type ToolFile,
} from './tool-schema.ts';
import type { ArgumentPlace, HttpTool, McpServerTools, ReleaseTool } from './tool-spec.ts';

/**
 * The tools of an assistant as its release holds them, and what is wrong with them at a path below
 * `tools`. `documentOf` gives the parsed OpenAPI document of a path; undefined where its own problem
 * was told already.
 */
export function readTools(
  files: readonly ToolFile[],
  documentOf: (path: string) => unknown,
): { readonly tools: readonly ReleaseTool[]; readonly problems: readonly ToolProblem[] } {
  const problems: ToolProblem[] = [];
  const checked = (tool: HttpTool, path: ToolProblem['path']): readonly HttpTool[] => {
    const problem = schemaProblem(tool);
    if (problem === undefined) return [tool];
    problems.push({ path, message: `the arguments of "${tool.name}" cannot be checked: ${problem}` });
    return [];
  };
  const tools = files.flatMap((file, index): readonly ReleaseTool[] => {
    if (file.kind === 'http') return checked(httpToolOf(file), [index, 'parameters']);
    if (file.kind === 'mcp') return [mcpToolsOf(file)];
    const document = documentOf(file.document);
    if (document === undefined) return [];
    const read = readOperations(file, document);
    if (read.ok) return read.value.flatMap((tool) => checked(tool, [index, 'document']));
    problems.push(...read.problems.map(({ path, message }) => ({ path: [index, ...path], message })));
    return [];
  });
  return { tools, problems };
}

/** Told when the assistant is loaded rather than when the tool is called. */
function schemaProblem({ parameters }: HttpTool): string | undefined {
  try {
    openArgumentCheck(parameters);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.replaceAll(/\s+/g, ' ').slice(0, 200) : 'unknown reason';
  }
}

function httpToolOf(file: HttpToolFile): HttpTool {
  const { origin, path } = splitAddress(file.url);
  const inPath = new Set(pathArguments(file.url));
  const hasBody = file.method === 'POST' || file.method === 'PUT' || file.method === 'PATCH';
  const placeOf = (name: string): ArgumentPlace => {
    if (inPath.has(name)) return { in: 'path' };
    return hasBody && !file.query.includes(name) ? { in: 'body' } : { in: 'query', joined: false };
  };
  return {
    kind: 'http',
    name: file.name,
    source: 'http',
    description: file.description,
    // What is not declared has no place to go to.
    parameters: { ...file.parameters, additionalProperties: false },
    method: file.method,
    origin,
    path,
    places: Object.fromEntries(Object.keys(file.parameters['properties'] ?? {}).map((name) => [name, placeOf(name)])),
    ...authorityOf(file),
    policy: policyOf(file),
  };
}

/** As written, not as an URL parser would spell it: that would encode the braces. */
function splitAddress(address: string): { readonly origin: string; readonly path: string } {
  const origin = new URL(address.replaceAll(/[{}]/g, '_')).origin;
  const path = sentPath(address.replace(/^https?:\/\/[^/?]*/i, ''));
  return { origin, path: path.startsWith('/') ? path : `/${path}` };
}

function mcpToolsOf(file: McpServerFile): McpServerTools {
  return {
    kind: 'mcp',
    label: file.label,
    url: file.url,
    ...authorityOf(file),
    tools: file.tools.map((entry) => {
      const { name, ...own } = typeof entry === 'string' ? { name: entry } : entry;
      return { name, policy: policyOf(own, file) };
    }),
  };
}

function authorityOf({ headers, authorisation, credential }: ToolFile) {
  return { headers, authorisation, ...(credential === undefined ? {} : { credential }) };
}
