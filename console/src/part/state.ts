/** The four states that a mark can show. */
export type State = 'good' | 'amber' | 'red' | 'unknown';
