import { startPostgres } from './postgres.ts';

/* A process that starts a server, sends its address, and waits to be killed. */
const { url } = await startPostgres();
process.send?.(url);
setInterval(() => {}, 60_000);
