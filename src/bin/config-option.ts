/** Of all commands that read a configuration. */
export const configOption = ['--config <file>', 'the configuration (YAML)'] as const;
