"""Question answering with compiled bundles: answers out of long texts, on the command line and in a web page."""
