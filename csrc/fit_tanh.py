"""Fit the coefficients of `tanh` in vec.h: tanh(x) = x P(x^2) / Q(x^2) on [-8, 8].

Lawson's iteration: weighted least squares on the linearised quotient, the weights multiplied by
the error until it is level (a near-minimax fit of the relative error). Prints the coefficients,
lowest power first, and the largest relative error of an evaluation in single precision.
"""

import numpy as np

LIMIT, NUMERATOR, DENOMINATOR = 8.0, 4, 4

x = (LIMIT * (0.5 - 0.5 * np.cos(np.linspace(0, np.pi, 6000))))[1:]
square = (x / LIMIT) ** 2
target = np.tanh(x) / x
above = np.stack([square**i for i in range(NUMERATOR + 1)], 1)
below = np.stack([square**i for i in range(1, DENOMINATOR + 1)], 1)
weights, q = np.ones_like(x), np.ones_like(x)
best_error, best = np.inf, np.zeros(NUMERATOR + DENOMINATOR + 1)
for _ in range(400):
    scale = np.sqrt(weights) / np.abs(target * q)
    system = np.concatenate([above, -target[:, None] * below], 1) * scale[:, None]
    solution, *_ = np.linalg.lstsq(system, target * scale, rcond=None)
    q = 1 + below @ solution[NUMERATOR + 1 :]
    error = np.abs(above @ solution[: NUMERATOR + 1] / q / target - 1)
    if error.max() < best_error:
        best_error, best = error.max(), solution
    weights = weights * error / (weights * error).sum()
p = best[: NUMERATOR + 1] / LIMIT ** (2 * np.arange(NUMERATOR + 1))
q = np.append(1, best[NUMERATOR + 1 :]) / LIMIT ** (2 * np.arange(DENOMINATOR + 1))
print("P", [float(np.float32(c)) for c in p])
print("Q", [float(np.float32(c)) for c in q])
print("largest relative error of the fit", best_error)
