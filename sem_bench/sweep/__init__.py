"""Sweeps: which settings of an embedding or a recipe do best on validation data?

subjects    a sweep card held against a suite: the studies, and the jobs of a trial
objectives  what a sweep maximises: which jobs say it, how it is read, in which words
study       a study by ask and tell: shared by drivers, resumed after a kill
storage     where studies are kept, and the locks of the drivers that share them
samplers    samplers, pruners and distributions of Optuna, from a card
driver      runs trials until there are enough, then confirms the best with other seeds
monitor     asks a study's pruner after every epoch whether a trial goes on; `looks` is what it compares
summary     what is known of a sweep, as results/sweeps/NAME.json
table       the rows and tables of that file; needs no Optuna
figure      the figures of those rows
export      a suite with the chosen values
"""
