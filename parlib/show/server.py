"""The server of the explorers' page; it loads neither torch nor a model: the page's kernel does."""

import os
from typing import Any

from parlib.errors import BadInput
from parlib.files import ASSETS, json_text


def application() -> Any:
    """The class of the server; BadInput where the packages of the extra `explore` are missing."""
    try:
        import ipykernel  # noqa: F401 (runs the page; voila does not bring it)
        from voila.app import Voila  # type: ignore[import-untyped]
    except ImportError:
        raise BadInput("explore needs voila and ipykernel: pip install 'parlib[explore]'") from None
    return Voila


def launch(
    run: str | None, folder: str | None, cache: str | None, port: int, browser: bool, beside: str | None = None
) -> None:
    """Serve the page of `explorers.page.run_tabs`, or of the profile where `run` is None, until it is stopped."""
    if run:
        wanted = {"run": run, "folder": folder, "cache": cache, "beside": beside}
        places = {key: os.path.abspath(path) if path and os.path.exists(path) else path for key, path in wanted.items()}
        os.environ["PARLIB_EXPLORE"] = json_text(places)
    # Servers drop messages above 10 MB, so a large picture could not be uploaded to an explorer.
    settings: dict[str, Any] = {"Voila.tornado_settings": {"websocket_max_message_size": 200_000_000}}
    settings["VoilaConfiguration.extension_language_mapping"] = {".py": "python"}
    options = [f"--{name}={value}" for name, value in settings.items()]
    options += [f"--port={port}", "--Voila.ip=127.0.0.1", *([] if browser else ["--no-browser"])]
    application().launch_instance([str(ASSETS / "explore.py"), *options])
