export { adminRoutes } from './admin/admin-routes.ts';
export type { EventStream, Exchange, Policy, Route } from './exchange.ts';
export { openHttpServer, type EdgeLimits, type HttpServer, type HttpServerOptions } from './open-http-server.ts';
export { openAiRoutes } from './openai/openai-routes.ts';
export { responseEvents } from './openai/response-events.ts';
export { pageRoutes, type PageOptions } from './pages/page-routes.ts';
export { probeRoutes, type ProbeOptions } from './probe-routes.ts';
export { errorBody, errorDescriptions, rescue, type ErrorBody, type Rescued } from './rescue.ts';
export { pageSecurityPolicy } from './security-headers.ts';
