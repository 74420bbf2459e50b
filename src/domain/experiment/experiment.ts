export { assign, pointOf, type Side } from './assign.ts';
