"""The colours of figures: each is a variable that follows the light or dark scheme."""

# What a lab draws with, and the variable `--fig-…` that book.css gives in its place.
DRAWN = {
    "#000000": "ink",
    "#808080": "muted",
    "#d3d3d3": "grid",
    "#ffffff": "paper",
    "#1f77b4": "0",
    "#ff7f0e": "1",
    "#2ca02c": "2",
    "#d62728": "3",
    "#9467bd": "4",
    "#8c564b": "5",
}
VARIABLES = [*DRAWN.values(), "warm"]  # the last is for drawings by hand
