import { configureGlobal } from 'fast-check';

/* A run is the same on every machine; `PROPERTY_SEED=$RANDOM npm test` looks elsewhere. */
configureGlobal({ seed: Number(process.env['PROPERTY_SEED'] ?? 20261126) });
