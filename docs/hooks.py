"""What MkDocs cannot be told in ``mkdocs.yml``.

The site has the layout of the repository: ``README.md`` is its front page, and a relative link leads to the same place
there as on a code host. MkDocs itself would take ``docs/`` for the root and know no page outside.
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pygments.formatters import HtmlFormatter

SHOWN = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "config/**/*",
    "docs/**/*.md",
    "docs/*.png",
    "docs/*.svg",
    "genies/**/*.md",
)
"""What the site has of the repository; files that are no pages can be linked to as they are."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the repository's files where they are there, instead of those of ``docs/`` alone, and add colours of code."""
    root = Path(config.config_file_path).parent
    theme = [file for file in files if file.src_dir != config.docs_dir]
    paths = sorted({path for pattern in SHOWN for path in root.glob(pattern) if path.is_file()})
    placed = [
        File(path.relative_to(root).as_posix(), str(root), config.site_dir, config.use_directory_urls) for path in paths
    ]
    colours = HtmlFormatter(style="default").get_style_defs(".highlight")
    return Files([*theme, *placed, File.generated(config, "pygments.css", content=colours)])
