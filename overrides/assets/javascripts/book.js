// Three small repairs; the book reads without them.

// 1. What scrolls sideways can be reached with the keyboard, and an inline
//    formula wider than the screen scrolls in its own box.
function fit() {
  for (const box of document.querySelectorAll(".formula, .lab-output, .md-typeset__scrollwrap")) {
    if (box.matches("span")) {
      box.classList.remove("scroll")
      const width = box.closest("p, li, td, th, dd, summary, figcaption, blockquote")?.clientWidth
      box.classList.toggle("scroll", width > 0 && box.getBoundingClientRect().width > width)
    }
    if (box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).display !== "inline") box.tabIndex = 0
    else box.removeAttribute("tabindex")
  }
}
new ResizeObserver(fit).observe(document.querySelector(".md-content"))
document.fonts.ready.then(fit)

// 2. Material puts the copy button into a <nav>: one landmark per code block.
const rename = () => document.querySelectorAll("nav.md-code__nav:not([role])").forEach(nav => nav.setAttribute("role", "none"))
new MutationObserver(rename).observe(document.querySelector(".md-content"), { childList: true, subtree: true })
rename()

// 3. The language switch keeps the place: both languages share their ids.
for (const link of document.querySelectorAll(".md-select__link[hreflang]"))
  link.addEventListener("click", () => { link.hash = location.hash })
