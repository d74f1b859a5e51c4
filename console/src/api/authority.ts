/** The certificate authority's public face, and where devices connect. */
import { get } from './call';
import { shape, text, type Read } from './door';

const face = shape({ fingerprint: text, pem: text });

const authority = shape({ root: face, issuing: face, broker: text });
export type Authority = Read<typeof authority>;

export const current = (signal?: AbortSignal): Promise<Authority> => get('/v1/authority', authority, signal);
