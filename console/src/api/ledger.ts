/** The record's public parts: its signed head, the proofs between heads, and the key that signs. */
import { address, get, getText } from './call';
import { count, list, shape, text, type Read } from './door';

const consistency = shape({ from: count, to: count, hashes: list(text) });
export type Consistency = Read<typeof consistency>;

export const checkpoint = (signal?: AbortSignal): Promise<string> => getText('/v1/ledger/checkpoint', signal);

export const key = async (signal?: AbortSignal): Promise<string> => (await getText('/v1/ledger/key', signal)).trim();

export const consistencyBetween = (from: number, to: number, signal?: AbortSignal): Promise<Consistency> =>
  get(address('/v1/ledger/consistency', { from, to }), consistency, signal);
