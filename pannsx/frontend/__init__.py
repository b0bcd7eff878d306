"""The log-mel spectrogram: its definition, a compiled kernel for the CPU, a torch module for the rest."""
