"""Long work: jobs, lanes, and the worker process behind them."""
