"""The one home of rounding: every quantised or rounded value in the project is made by a function in here.

The formulas follow the TOSA specification, so that an independent reference model can check them.
"""
