export {
  openEgress,
  type Egress,
  type EgressMethod,
  type EgressReply,
  type EgressRequest,
  type Reach,
} from './open-egress.ts';
