def examine(root, experiments, site):
    return []


def format_findings(findings):
    return ""
