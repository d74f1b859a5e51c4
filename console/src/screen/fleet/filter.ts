/** Reads the fleet's filter from the address bar; a word that the server does not know is left out. */
import { CONNECTIONS, FILTERS, STAGES, type Filter } from '../../api/device';

export function filterOf(query: URLSearchParams): Filter {
  const filter: Filter = {};
  for (const key of FILTERS) {
    const value = query.get(key);
    if (value === null || value === '') continue;
    const words = WORDS[key];
    if (words && !words.includes(value)) continue;
    filter[key] = value;
  }
  return filter;
}

/** True where the filter leaves devices out; an order alone does not. */
export function narrows(filter: Filter): boolean {
  return Object.keys(filter).some((key) => key !== 'sort' && key !== 'order');
}

/** The next order when a column's head is pressed: its natural one, then the other, then none. Ids have one order only. */
export function nextOrder(filter: Filter, sort: string): { sort: string | null; order: string | null } {
  const natural = sort === 'id' ? 'asc' : 'desc';
  if (filter.sort !== sort) return { sort, order: natural };
  if (sort === 'id') return { sort: null, order: null };
  if ((filter.order ?? natural) === natural) return { sort, order: 'asc' };
  return { sort: null, order: null };
}

const WORDS: Partial<Record<keyof Filter, readonly string[]>> = {
  stage: STAGES,
  connection: CONNECTIONS,
  attention: ['any', 'red', 'amber'],
  sort: ['attention', 'id', 'seen', 'created'],
  order: ['asc', 'desc'],
};
