export {
  createAdmission,
  createTurnLimiter,
  type Admission,
  type AdmissionOptions,
  type Admittance,
  type TurnAdmittance,
  type TurnLimiter,
  type TurnLimiterOptions,
} from './admission.ts';
export { createPool, createPools } from './pool.ts';
export type {
  BreakerState,
  LimitReport,
  MemberOptions,
  MemberView,
  Need,
  Pick,
  Pool,
  PoolOptions,
  PoolsOptions,
  Settlement,
  Ticket,
} from './port.ts';
export { prefixChain, type PrefixChain } from './prefix.ts';
