// Sets the stored theme before the first paint, so that a dark room is not lit by a white flash.
try {
  const theme = localStorage.getItem('palisade.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage is refused: the system's theme holds.
}
