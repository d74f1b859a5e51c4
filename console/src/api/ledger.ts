/** The record's public parts: its signed head, the proofs between heads, and the key that signs. */
import { address, get, getText } from './call';
import { count, list, maybe, moment, shape, text, type Read } from './door';

const consistency = shape({ from: count, to: count, hashes: list(text) });
export type Consistency = Read<typeof consistency>;

const witness = shape({ name: text, key: text, added: moment, size: maybe(count), seen: maybe(moment) });
export type Witness = Read<typeof witness>;

const witnesses = shape({ items: list(witness) });

export const checkpoint = (signal?: AbortSignal): Promise<string> => getText('/v1/ledger/checkpoint', signal);

export const key = async (signal?: AbortSignal): Promise<string> => (await getText('/v1/ledger/key', signal)).trim();

export const consistencyBetween = (from: number, to: number, signal?: AbortSignal): Promise<Consistency> =>
  get(address('/v1/ledger/consistency', { from, to }), consistency, signal);

/** Who else watches the record, as an administrator declared it. */
export const allWitnesses = async (signal?: AbortSignal): Promise<Witness[]> =>
  (await get('/v1/ledger/witnesses', witnesses, signal)).items;
