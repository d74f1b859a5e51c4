/** The clock that ages are told against: it ticks once a second while the page is seen. */

class Clock {
  now = $state(new Date());

  constructor() {
    if (typeof document === 'undefined') return;
    setInterval(() => {
      if (!document.hidden) this.now = new Date();
    }, 1_000);
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.now = new Date();
    });
  }
}

export const clock = new Clock();
