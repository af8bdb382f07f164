"""Plugins: found and read without importing them, loaded in the model worker.

``paths``      `bundled`, `user_plugin_dir`
``manifest``   `PluginManifest`, `read_manifest`
``discovery``  `find`
``registry``   `PluginRegistry`, `BrokenPlugin`
``forms``      `ParamSpec`, `describe_params`, `params_from_dict`, `params_to_dict`
``loader``     `TaskSource`, `load_task`, `params_type`
``run_task``   `RunPayload`, `RunOutput` and the functions called in the worker: `run`, `describe`, `check`, `warm`
"""
