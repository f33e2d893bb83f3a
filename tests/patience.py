# SPDX-License-Identifier: Apache-2.0

"""Lets property tests take their time: import it, nothing else is needed.

Hypothesis fails an example that takes longer than 200 ms. On a busy machine
that says something about the machine, not about the code.
"""

import hypothesis

hypothesis.settings.register_profile('patient', deadline=None)
hypothesis.settings.load_profile('patient')
