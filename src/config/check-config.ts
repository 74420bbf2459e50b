import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { nearestWord } from '#base';
import type { Role } from '#cluster';
import type { ConfigFile } from './config-schema.ts';
import type { Complaints } from './problems.ts';

/** What the schema cannot see: names that must match, be unique, or exist on disk where this process reads them. */
export function checkConfig(
  file: ConfigFile,
  { folder, roles }: { readonly folder: string; readonly roles: readonly Role[] },
  complaints: Complaints,
): void {
  checkBackends(file, folder, complaints);
  checkPools(file, complaints);
  checkEmbeddings(file, complaints);
  checkTenants(file, complaints);
  if (roles.includes('control')) checkFolders(file, folder, complaints);
  checkTools(file, roles, complaints);
}

function checkTools(file: ConfigFile, roles: readonly Role[], complaints: Complaints): void {
  const ids = file.tenants?.map(({ id }) => id) ?? ['default'];
  // Without the role `control` the tenants come from elsewhere.
  const areKnown = file.tenants !== undefined || roles.includes('control');
  for (const [name, { origins, tenants }] of Object.entries(file.tools.credentials)) {
    const path = ['tools', 'credentials', name];
    if (tenants === undefined && ids.length > 1) {
      complaints.at(path, `"tenants" must say whose assistants may use this credential: ${ids.join(', ')}`);
    }
    for (const [index, id] of (tenants ?? []).entries()) {
      if (!areKnown || ids.includes(id)) continue;
      const nearest = nearestWord(id, ids);
      const hint = nearest === undefined ? `declared are ${ids.join(', ')}` : `did you mean "${nearest}"?`;
      complaints.at([...path, 'tenants', index], `no tenant is called "${id}"; ${hint}`);
    }
    for (const [index, origin] of origins.entries()) {
      if (origin.startsWith('https:') || file.tools.privateOrigins.includes(origin)) continue;
      complaints.at(
        [...path, 'origins', index],
        'a secret is not sent over http, where others can read it; write https, or list the origin under tools.privateOrigins where it is your own network',
      );
    }
  }
}

function checkBackends(file: ConfigFile, folder: string, complaints: Complaints): void {
  const backends = file.backends ?? [];
  refuseRepeats(backends, 'name', ['backends'], complaints);
  for (const [index, backend] of backends.entries()) {
    if (backend.name === 'knowledge' && backend.kind !== 'knowledge') {
      complaints.at(
        ['backends', index, 'name'],
        'the name "knowledge" belongs to the answerer without a model; choose another',
      );
    }
    if (backend.kind === 'local' && !existsSync(resolve(folder, backend.modelPath))) {
      complaints.at(
        ['backends', index, 'modelPath'],
        'there is no such model file; `usher model` downloads one and prints its path',
      );
    }
  }
}

function checkPools(file: ConfigFile, complaints: Complaints): void {
  const pools = file.pools ?? [];
  if (pools.length > 0 && file.backends === undefined) {
    complaints.at(['pools'], 'pools need backends to hold; declare them under `backends:`, or leave out `pools:`');
    return;
  }
  const names = (file.backends ?? []).map((backend) => backend.name);
  refuseRepeats(pools, 'name', ['pools'], complaints);
  for (const [index, pool] of pools.entries()) {
    for (const [position, name] of pool.backends.entries()) {
      const path = ['pools', index, 'backends', position];
      if (!names.includes(name)) {
        const nearest = nearestWord(name, names);
        const hint = nearest === undefined ? `declared are ${names.join(', ')}` : `did you mean "${nearest}"?`;
        complaints.at(path, `no backend is called "${name}"; ${hint}`, nearest === undefined ? {} : { nearest });
      } else if (pool.backends.indexOf(name) !== position) {
        complaints.at(path, `"${name}" is already in this pool; name each backend once`);
      }
    }
  }
}

/** On the wire both are models: a name must mean one thing. */
function checkEmbeddings({ embeddings, tenants = [] }: ConfigFile, complaints: Complaints): void {
  refuseRepeats(embeddings, 'name', ['embeddings'], complaints);
  const assistants = new Set(tenants.flatMap((tenant) => tenant.assistants.map(({ name }) => name)));
  for (const [index, { name }] of embeddings.entries()) {
    if (!assistants.has(name)) continue;
    complaints.at(['embeddings', index, 'name'], `an assistant is called "${name}" already; choose another name`);
  }
}

function checkTenants(file: ConfigFile, complaints: Complaints): void {
  const tenants = file.tenants ?? [];
  refuseRepeats(tenants, 'id', ['tenants'], complaints);
  for (const [index, tenant] of tenants.entries()) {
    refuseRepeats(tenant.assistants, 'name', ['tenants', index, 'assistants'], complaints);
  }
}

function checkFolders(file: ConfigFile, folder: string, complaints: Complaints): void {
  for (const [index, tenant] of (file.tenants ?? []).entries()) {
    for (const [position, assistant] of tenant.assistants.entries()) {
      const path = ['tenants', index, 'assistants', position];
      for (const place of foldersOf(assistant, path)) requireAssistant(folder, place, complaints);
    }
  }
}

interface FolderPlace {
  readonly folder: string;
  readonly path: readonly (string | number)[];
}

function foldersOf(
  assistant: NonNullable<ConfigFile['tenants']>[number]['assistants'][number],
  path: readonly (string | number)[],
): FolderPlace[] {
  if (assistant.folder !== undefined) return [{ folder: assistant.folder, path: [...path, 'folder'] }];
  return Object.entries(assistant.environments ?? {}).flatMap(([name, environment]) => {
    const here = [...path, 'environments', name];
    if (environment.folder !== undefined) return [{ folder: environment.folder, path: [...here, 'folder'] }];
    return (environment.split ?? []).map((side, index) => ({
      folder: side.folder,
      path: [...here, 'split', index, 'folder'],
    }));
  });
}

function requireAssistant(base: string, place: FolderPlace, complaints: Complaints): void {
  const folder = resolve(base, place.folder);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    complaints.at(place.path, 'there is no such folder; the path is relative to the folder of this file');
  } else if (!existsSync(resolve(folder, 'assistant.yaml'))) {
    complaints.at(place.path, 'this folder has no assistant.yaml; `usher init <name>` makes a folder that has one');
  }
}

function refuseRepeats<Key extends string>(
  entries: readonly { readonly [name in Key]: string }[],
  key: Key,
  path: readonly (string | number)[],
  complaints: Complaints,
): void {
  const seen = new Set<string>();
  for (const [index, entry] of entries.entries()) {
    const value = entry[key];
    if (seen.has(value)) complaints.at([...path, index, key], `"${value}" stands twice; give each its own ${key}`);
    seen.add(value);
  }
}
