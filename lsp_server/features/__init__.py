"""One module per LSP method: unwrap the parameters, call a plain function, wrap its result."""
