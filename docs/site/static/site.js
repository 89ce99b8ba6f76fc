// What the theme leaves out for readers with a keyboard or a screen reader.
// After "load": formulas have their width by then.
addEventListener("load", () => {
  if (/glossary\.html$/.test(location.pathname)) {
    document.querySelector(".bd-article table")?.classList.add("glossary-table");
  }
  for (const part of document.querySelectorAll("pre, table, .output.text_html, .math")) {
    const box = part.closest(".pst-scrollable-table-container") || part;
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
  for (const button of document.querySelectorAll(".search-button-field")) button.removeAttribute("aria-label");
  for (const part of document.querySelectorAll("nav summary")) {
    const name = part.closest("li")?.querySelector("a")?.textContent.trim();
    part.setAttribute("aria-label", name ? `Pages of ${name}` : "Pages");
  }
});
