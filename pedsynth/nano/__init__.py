"""How the nano encoder is made: a SigLIP in miniature, trained on rendered people and nothing else."""
