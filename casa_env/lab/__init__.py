"""What JupyterLab is started with, and what it has of Casa: its extension, a page."""
