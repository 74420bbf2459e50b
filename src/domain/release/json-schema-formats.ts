const date = /^\d{4}-\d\d-\d\d$/;
const time = /^(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?(?:z|[+-]\d\d:?\d\d)?$/i;
const zone = /(?:z|[+-]\d\d:?\d\d)$/i;
const duration = /^P(?=[\dT])(?:\d+Y)?(?:\d+M)?(?:\d+W)?(?:\d+D)?(?:T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?)?$/;
const label = /^[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?$/i;
const octet = /^(?:25[0-5]|2[0-4]\d|1?\d?\d)$/;
const uuid = /^(?:urn:uuid:)?[\da-f]{8}-(?:[\da-f]{4}-){3}[\da-f]{12}$/i;
const address = /^[a-z][a-z\d+.-]*:\S+$/i;

/** What a text of a format must be; each takes time in proportion to the text, whatever it is. */
export const formats: ReadonlyMap<string, (text: string) => boolean> = new Map([
  ['date', isDate],
  ['time', (text: string) => time.test(text)],
  ['date-time', isDateTime],
  ['duration', (text: string) => duration.test(text)],
  ['email', isEmail],
  ['hostname', isHostName],
  ['ipv4', (text: string) => isFour(text.split('.'))],
  ['ipv6', (text: string) => /^[\da-f:.]+$/i.test(text) && URL.canParse(`http://[${text}]/`)],
  ['uri', isAddress],
  ['url', isAddress],
  ['uuid', (text: string) => uuid.test(text)],
]);

function isDate(text: string): boolean {
  const atMs = date.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
  // A day that the month does not have is taken for one of the next.
  return !Number.isNaN(atMs) && new Date(atMs).toISOString().startsWith(text);
}

function isDateTime(text: string): boolean {
  return isDate(text.slice(0, 10)) && /[t ]/i.test(text.charAt(10)) && time.test(text.slice(11)) && zone.test(text);
}

function isEmail(text: string): boolean {
  const [name, host, ...more] = text.split('@');
  return more.length === 0 && /^[^\s"]{1,64}$/.test(name ?? '') && isHostName(host ?? '');
}

function isHostName(text: string): boolean {
  return text.length <= 253 && text.split('.').every((part) => label.test(part));
}

function isFour(parts: readonly string[]): boolean {
  return parts.length === 4 && parts.every((part) => octet.test(part));
}

function isAddress(text: string): boolean {
  return address.test(text) && URL.canParse(text);
}
