"""What compiled models cost: times in turns, profiles by dispatch, instructions on emulated CPUs, deployments."""
