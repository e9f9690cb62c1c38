"""PyTorch: `framework` answers for a module; the folders have its files, traces, LRP and guided passes."""
