/** The chosen theme, set before anything is drawn, so that no page flashes in the other one. See theme.ts. */
try {
  document.documentElement.dataset.theme = localStorage.getItem('paychan-demo-theme') ?? 'system'
} catch {
  document.documentElement.dataset.theme = 'system'
}
