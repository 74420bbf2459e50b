import type { Policy } from '../exchange.ts';

/** Whoever may talk with an assistant: applications, and persons with a token of their own. */
export const talkPolicy: Policy = { access: 'principal', kinds: ['key', 'user'], scope: 'talk' };
