"""What every stage's program is made of: its command line, parameters, output folder, reports, ids, seeds, and the versions of its code.

Plain Python for programs that run with neither an orchestrator nor a GPU. Nothing here knows what a stage makes, and nothing here imports another
package of the project but `formats`.
"""
