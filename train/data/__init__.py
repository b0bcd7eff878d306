"""Training clips: download, packing into stores, selection, sampling and loading."""
