/** On every answer, whatever it holds. */
const always: readonly string[] = [
  'x-content-type-options',
  'nosniff',
  'referrer-policy',
  'no-referrer',
  'cross-origin-opener-policy',
  'same-origin',
  'permissions-policy',
  'camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()',
];

/** Names and values alternating, as `writeHead` takes them fastest. */
export function securityHeaders(https: boolean): readonly string[] {
  return https ? [...always, 'strict-transport-security', 'max-age=31536000'] : always;
}

/**
 * The Content-Security-Policy of a page. Only its own files run; `frameAncestors` are the origins
 * that may embed it, none when empty.
 */
export function pageSecurityPolicy(frameAncestors: readonly string[] = []): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    `frame-ancestors ${frameAncestors.length === 0 ? "'none'" : frameAncestors.join(' ')}`,
    "base-uri 'none'",
    "form-action 'self'",
  ].join('; ');
}
