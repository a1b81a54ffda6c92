"""Who the operator is to the nodes, and who the nodes are to the operator.

    dates         the time of day
    authority     a certificate authority, and certificates of a server signed by it
    rotation      which authorities there should be, and which of them signs: a function of what there is and the time
    keeper        the loop that makes it so: Secret, ConfigMap, certificate
    files         a certificate of the user's own instead
    source        what both offer
    refusals      why a caller is not served
    claims        what a TokenReview says of a token
    patience      how often one address may have it asked for nothing
    reviewer      whose a token is: asked, and remembered
    caller        one stream's token, while the stream lasts
    handshakes    why TLS handshakes failed, from what gRPC's core writes
    metrics       all of it, counted

Knows certificates and tokens. Knows nothing of rule sets, sessions or policies.
"""
