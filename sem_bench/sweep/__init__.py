"""Sweeps: which settings of an embedding or a recipe do best on validation data?

subjects   a sweep card held against a suite: the studies, and the jobs of a trial
study      a study in Optuna's storage: asked, told, shared by drivers, resumed after a kill
driver     runs trials until there are enough, then confirms the best with more seeds
summary    what is known of a sweep, as results/sweeps/NAME.json
table      the rows and tables of that file; needs no Optuna
best       a suite with the chosen values
"""
