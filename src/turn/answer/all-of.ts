/** One promise for several, and none where none waits: the common case costs no microtask. */
export function allOf(...pending: (void | Promise<void>)[]): void | Promise<void> {
  const waiting = pending.filter((one) => one !== undefined);
  return waiting.length === 0 ? undefined : Promise.all(waiting).then(() => undefined);
}
