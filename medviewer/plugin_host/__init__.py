"""Plugins: found and read without importing them, loaded in the model worker.

``manifest``   `PluginManifest`, `read_manifest`
``discovery``  `find`
``registry``   `PluginRegistry`, `BrokenPlugin`
``model_tasks`` `model_task`: a model of the store as a task
``forms``      `ParamSpec`, `describe_params`, `params_from_dict`, `params_to_dict`
``loader``     `TaskSource`, `load_task`, `params_type`
``run_task``   `RunPayload`, `RunOutput` and the functions called in the worker: `run`, `describe`, `check`, `warm`
"""
