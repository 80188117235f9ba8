import assert from 'node:assert/strict';
import { test } from 'node:test';
import { awsPlace } from './aws-endpoint.js';

const places: readonly (readonly [region: string, partition: string, sts: string])[] = [
  ['eu-west-1', 'aws', 'sts.eu-west-1.amazonaws.com'],
  ['us-east-1', 'aws', 'sts.us-east-1.amazonaws.com'],
  ['cn-north-1', 'aws-cn', 'sts.cn-north-1.amazonaws.com.cn'],
  ['us-gov-west-1', 'aws-us-gov', 'sts.us-gov-west-1.amazonaws.com'],
  ['eusc-de-east-1', 'aws-eusc', 'sts.eusc-de-east-1.amazonaws.eu'],
  ['us-iso-east-1', 'aws-iso', 'sts.us-iso-east-1.c2s.ic.gov'],
  ['us-isob-east-1', 'aws-iso-b', 'sts.us-isob-east-1.sc2s.sgov.gov'],
  ['eu-isoe-west-1', 'aws-iso-e', 'sts.eu-isoe-west-1.cloud.adc-e.uk'],
  ['us-isof-south-1', 'aws-iso-f', 'sts.us-isof-south-1.csp.hci.ic.gov'],
];

for (const [region, partition, sts] of places) {
  test(`${region} is in ${partition}`, () => {
    assert.equal(awsPlace(region).partition, partition);
    assert.equal(awsPlace(region).host('sts'), sts);
  });
}
