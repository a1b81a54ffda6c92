"""End-to-end tests: an installation from manifests/ on a cluster, judged by packets between its pods.

    cluster           what a test may ask of a cluster, and the images on it
    existing, kind    one that is there; one that pytest-kind makes
    laboratory        ours: a development API server, kubelets and nodes on this machine (site.py is that program)
    archives          images as image.sh leaves them
    install           manifests/ applied, and taken away
    agents            pods that send and answer
    examples          the repository's examples, as objects of this cluster
    state             the cluster as the reference evaluator reads it

Knows an installation as an admin does: kubectl, manifests, packets. Knows nothing of how it works.
"""
